"""`entrain tune`: tries values of options in runs of their own, and finds which are best."""
