import time
def test_x(artefact, colour_artefact):
    pass
