"""Tables and figures of the study, ours beside what it printed.

    table-i    images of every store
    fig-1      how large lesions are, and how bright

What is reproduced comes from the prepared stores that stand and from models that are there; what is missing is named,
and made where that is asked for. `items` holds them all.
"""
