"""An answer in the forms that a request can ask for."""
