"""Shell: when frames may flow into the agents' queues."""

from __future__ import annotations

from mode.utils.queues import FlowControlEvent


class FlowControl(FlowControlEvent):
    """Faust's, but to resume what flows already takes nothing out of the queues.

    Faust resumes the flow twice after a rebalance: before it tells the table that it has recovered, and once more when it has
    sought the committed offsets. Between the two, partitions are fetched again, and frames that waited in a queue at the second
    time were thrown away; as those behind them were joined and acknowledged, nobody ever read them again.
    """

    def resume(self) -> None:
        """Lets frames flow; if they did not, what is left in the queues from before goes."""
        if not self.is_active():
            super().resume()
