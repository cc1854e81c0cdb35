"""Model servers on the nodes of a Ray cluster: the process on each node, and the supervisor of all of them."""
