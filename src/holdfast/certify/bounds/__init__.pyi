from .bound import BOUNDS as BOUNDS
from .bound import bound as bound
from .bound import round_down as round_down
from .cohen import cohen_radius as cohen_radius
from .laplace import laplace_radius as laplace_radius
from .pixeldp import pixeldp_radius as pixeldp_radius
from .renyi import renyi_radius as renyi_radius
from .top import top_radius as top_radius

__all__ = [
    "BOUNDS",
    "bound",
    "cohen_radius",
    "laplace_radius",
    "pixeldp_radius",
    "renyi_radius",
    "round_down",
    "top_radius",
]
