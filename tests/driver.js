// What a reader does to the report's page.
var $ = (selector) => document.querySelector(selector);
var $$ = (selector) => [...document.querySelectorAll(selector)];
var texts = (selector) => $$(selector).map((element) => element.textContent);
var options = (selector) => [...$(selector).options].map((option) => option.textContent);
var rest = (ms = 60) => new Promise((resolve) => setTimeout(resolve, ms));

var drawn = async () => {
  while (!document.documentElement?.classList.contains("drawn")) await rest(20);
};

var choose = async (selector, value) => {
  $(selector).value = value;
  $(selector).dispatchEvent(new Event("change"));
  await rest();
};

var press = async (selector, key) => {
  $(selector).dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  await rest();
};

var click = async (selector, place = 0) => {
  $$(selector)[place].click();
  await rest();
};

/** How light a colour is, from 0 to 1. */
var light = (colour) => {
  const parts = colour.match(/[\d.]+/g).slice(0, 3).map(Number);
  return (parts[0] + parts[1] + parts[2]) / 765;
};
