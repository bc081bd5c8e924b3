"""Holdfast: how robust is an image classifier, really?"""

from importlib import metadata

from holdfast import attacks as attacks
from holdfast import certify as certify
from holdfast import defenses as defenses
from holdfast import goals as goals
from holdfast import gradients as gradients
from holdfast import models as models
from holdfast import training as training
from holdfast.errors import HoldfastError as HoldfastError
from holdfast.evaluation import Evaluation as Evaluation
from holdfast.evaluation import EvaluationConfig as EvaluationConfig
from holdfast.evaluation import evaluate as evaluate
from holdfast.threat import L1 as L1
from holdfast.threat import L2 as L2
from holdfast.threat import Linf as Linf

__version__ = metadata.version("holdfast")
