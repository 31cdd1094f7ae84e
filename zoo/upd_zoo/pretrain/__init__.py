"""Self-supervised pre-training of the networks that methods start from.

The folder of a run holds what every run does (see `upd_zoo.fitting.trainer`), and when it has ended

    backbone/config.json         Backbone: what was pre-trained, on what, and how
    backbone/model.safetensors   the network's tensors; by timm's names where timm makes it
    backbone/manifest.json       size and SHA-256 of both, versions, commit
"""
