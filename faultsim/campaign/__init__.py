"""Statistical fault injection: bit flips drawn at random from all stored bits, scored in one sweep, kept in a journal.

Only names are handed on.
"""

from faultsim.campaign.options import CampaignOptions, Shard, parse_shard
from faultsim.campaign.run import Interrupted, Planned, plan_campaign, run_campaign

__all__ = [
    "CampaignOptions",
    "Interrupted",
    "Planned",
    "Shard",
    "parse_shard",
    "plan_campaign",
    "run_campaign",
]
