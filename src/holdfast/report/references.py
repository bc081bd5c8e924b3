"""The papers to cite, by the name under which runs record what they used."""

_APGD = (
    "F. Croce and M. Hein, Reliable evaluation of adversarial robustness with an ensemble of "
    "diverse parameter-free attacks, ICML 2020."
)
_FGSM = (
    "I. Goodfellow, J. Shlens and C. Szegedy, Explaining and harnessing adversarial examples, "
    "ICLR 2015."
)
_EAT = (
    "F. Tramèr, A. Kurakin, N. Papernot, I. Goodfellow, D. Boneh and P. McDaniel, Ensemble "
    "adversarial training: attacks and defenses, ICLR 2018."
)
_SO = (
    "B. Li, C. Chen, W. Wang and L. Carin, Second-order adversarial attack and certifiable "
    "robustness, 2018."
)
_BPDA = (
    "A. Athalye, N. Carlini and D. Wagner, Obfuscated gradients give a false sense of security, "
    "ICML 2018."
)
_STN = (
    "B. Li, C. Chen, W. Wang and L. Carin, Certified adversarial robustness with additive noise, "
    "NeurIPS 2019."
)
_COHEN = (
    "J. Cohen, E. Rosenfeld and Z. Kolter, Certified adversarial robustness via randomized "
    "smoothing, ICML 2019."
)
_TOP = (
    "J. Jia, X. Cao, B. Wang and N. Gong, Certified robustness for top-k predictions against "
    "adversarial perturbations via randomized smoothing, ICLR 2020."
)
_PIXELDP = (
    "M. Lecuyer, V. Atlidakis, R. Geambasu, D. Hsu and S. Jana, Certified robustness to "
    "adversarial examples with differential privacy, S&P 2019."
)
_FAB = (
    "F. Croce and M. Hein, Minimally distorted adversarial examples with a fast adaptive boundary "
    "attack, ICML 2020."
)
_KURAKIN = (
    "A. Kurakin, I. Goodfellow and S. Bengio, Adversarial machine learning at scale, ICLR 2017."
)

REFERENCES = {
    "FGSM": _FGSM,
    "RFGSM": _EAT,
    "StepLL": _KURAKIN,
    "RStepLL": _EAT,
    "IterLL": _KURAKIN,
    "IFGSM": (
        "A. Kurakin, I. Goodfellow and S. Bengio, Adversarial examples in the physical world, "
        "ICLR workshop 2017."
    ),
    "PGD": (
        "A. Madry, A. Makelov, L. Schmidt, D. Tsipras and A. Vladu, Towards deep learning models "
        "resistant to adversarial attacks, ICLR 2018."
    ),
    "MIM": "Y. Dong et al., Boosting adversarial attacks with momentum, CVPR 2018.",
    "APGD": _APGD,
    "APGDT": _APGD,
    "Square": (
        "M. Andriushchenko, F. Croce, N. Flammarion and M. Hein, Square attack: a query-efficient "
        "black-box adversarial attack via random search, ECCV 2020."
    ),
    "SparseRS": (
        "F. Croce, M. Andriushchenko, N. D. Singh, N. Flammarion and M. Hein, Sparse-RS: a "
        "versatile framework for query-efficient sparse black-box adversarial attacks, AAAI 2022."
    ),
    "FAB": _FAB,
    "Spatial": (
        "L. Engstrom, B. Tran, D. Tsipras, L. Schmidt and A. Madry, Exploring the landscape of "
        "spatial robustness, ICML 2019."
    ),
    "SaltAndPepper": (
        "V. Srinivasan, C. Rohrer, A. Marban, K.-R. Müller, W. Samek and S. Nakajima, Robustifying "
        "models against adversarial attacks by Langevin dynamics, 2018."
    ),
    "SecondOrder": _SO,
    "SecondOrderUnitDraw": _SO,
    "DeepFool": (
        "S.-M. Moosavi-Dezfooli, A. Fawzi and P. Frossard, DeepFool: a simple and accurate method "
        "to fool deep neural networks, CVPR 2016."
    ),
    "CarliniWagner": (
        "N. Carlini and D. Wagner, Towards evaluating the robustness of neural networks, S&P 2017."
    ),
    "EAD": (
        "P.-Y. Chen, Y. Sharma, H. Zhang, J. Yi and C.-J. Hsieh, EAD: elastic-net attacks to deep "
        "neural networks via adversarial examples, AAAI 2018."
    ),
    "DDN": (
        "J. Rony et al., Decoupling direction and norm for efficient gradient-based L2 adversarial "
        "attacks and defenses, CVPR 2019."
    ),
    "FMN": (
        "M. Pintor, F. Roli, W. Brendel and B. Biggio, Fast minimum-norm adversarial attacks "
        "through adaptive norm constraints, NeurIPS 2021."
    ),
    "Boundary": (
        "W. Brendel, J. Rauber and M. Bethge, Decision-based adversarial attacks, ICLR 2018."
    ),
    "HopSkipJump": (
        "J. Chen, M. Jordan and M. Wainwright, HopSkipJumpAttack: a query-efficient decision-based "
        "attack, S&P 2020."
    ),
    "NES": (
        "A. Ilyas, L. Engstrom, A. Athalye and J. Lin, Black-box adversarial attacks with limited "
        "queries and information, ICML 2018."
    ),
    "BPDA": _BPDA,
    "Average": _BPDA,
    "cohen": _COHEN,
    "top": _TOP,
    "two-sample": _COHEN,
    "two-sample-randomised": (
        "V. Voráček, Treatment of statistical estimation problems in randomized smoothing for "
        "adversarial robustness, NeurIPS 2024."
    ),
    "input-specific": (
        "R. Chen, J. Li, J. Yan, P. Li and B. Sheng, Input-specific robustness certification for "
        "randomized smoothing, AAAI 2022."
    ),
    "renyi": _STN,
    "pixeldp": _PIXELDP,
    "hoeffding": _PIXELDP,
    "laplace": (
        "J. Teng, G.-H. Lee and Y. Yuan, ℓ1 adversarial robustness certificates: a randomized "
        "smoothing approach, 2020."
    ),
    "sound-gaussian": (
        "V. Voráček and M. Hein, Sound randomized smoothing in floating-point arithmetic, ICLR "
        "2023."
    ),
    "sison-glaz": (
        "C. Sison and J. Glaz, Simultaneous confidence intervals and sample size determination for "
        "multinomial proportions, JASA 1995."
    ),
    "loss surface": _EAT,
    "linearity": _EAT,
    "orthogonal directions": _EAT,
    "discrepancy": _EAT,
    "curvature": _SO,
    "gradient norm": _SO,
}
