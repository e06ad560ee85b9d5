# SPDX-License-Identifier: BSD-3-Clause
"""A run's policy as a folder for others: the official layout, a model card, and a place on the Hugging Face hub."""
