//! podspawn's first process inside a container: the parts that tests and the host side share.
