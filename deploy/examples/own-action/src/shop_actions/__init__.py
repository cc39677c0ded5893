"""Actions of a shop: an example of a package of one's own."""
