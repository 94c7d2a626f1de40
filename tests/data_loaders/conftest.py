import pytest
from makers_fields import labelled

GRIDS = {1: ("x",), 2: ("y", "x"), 3: ("z", "y", "x")}


@pytest.fixture
def make_field():
    return labelled


@pytest.fixture(params=[1, 2, 3], ids=["1D", "2D", "3D"])
def field(request):
    grid = GRIDS[request.param]
    return labelled(grid, (5, *(4, 6, 8)[: len(grid)]))
