"""The tables of the studies that are made of runs. No torch.

Each is a function of the study's runs, as `eosflow.results.studies.runs` reads them.
"""
