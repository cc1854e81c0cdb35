"""Model servers on the nodes of a Ray cluster: the process on a node, and who starts and watches all of them."""
