"""The model card, and the results that it shows. No torch is needed to write either."""
