"""The networks themselves: torch modules and losses, and nothing but torch.

What several systems share lies here, the rest in a room for each of them.
"""
