"""Deep Defense: training DNNs with improved adversarial robustness (Yan et al., NeurIPS 2018).

The length of DeepFool's perturbation, relative to the image's, becomes a part of the training loss,
differentiated through all of DeepFool's steps. Fine-tuned so, networks need perturbations up to
twice as long to be fooled, and classify clean images no worse.
"""

SHORT = "dd"
