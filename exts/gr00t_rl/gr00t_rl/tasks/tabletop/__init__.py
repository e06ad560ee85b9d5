# SPDX-License-Identifier: BSD-3-Clause
"""What the tabletop families share: scene, action, physics presets and mdp terms."""
