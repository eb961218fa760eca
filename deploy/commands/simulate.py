"""Shell: `footfall simulate`: hands over to the simulator's own command."""

from __future__ import annotations

from typing import cast

import click

from deploy.entry import entry

command = cast(click.Command, entry("deploy.simulator.main:command"))
