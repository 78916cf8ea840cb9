"""The same job in other engines, each as its own users would write it; `catalogue.py` lists them."""
