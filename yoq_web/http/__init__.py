"""The way of every request: the guard, the declarations of routes, the limit of failed logins."""
