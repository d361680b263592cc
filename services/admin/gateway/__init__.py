"""Gateway control: render -> check -> publish -> verify."""
