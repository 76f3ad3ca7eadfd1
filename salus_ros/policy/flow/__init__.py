"""The built-in VLA: vision encoder, instruction, state, and a flow-matching action expert."""
