"""The deploy-compiler: measures configurations of a policy, and picks one for a budget."""
