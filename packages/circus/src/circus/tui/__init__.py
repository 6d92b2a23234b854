"""circus-top: what a circusd looks after, on a screen that stays. It knows only the control API."""
