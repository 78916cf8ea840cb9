"""How likely a customer is to leave: what is known of one, the model, its weights, and how they are fitted."""
