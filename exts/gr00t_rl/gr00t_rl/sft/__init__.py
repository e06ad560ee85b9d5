# SPDX-License-Identifier: BSD-3-Clause
"""Supervised fine-tuning of GR00T on demonstrations by flow matching: what `gr00t-rl finetune` runs."""
