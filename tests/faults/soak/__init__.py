"""Many random changes of one router in a row, under traffic and with faults."""
