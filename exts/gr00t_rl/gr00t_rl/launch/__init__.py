# SPDX-License-Identifier: BSD-3-Clause
"""What train, play and evaluate share before they start: which checkpoint, and how to film."""
