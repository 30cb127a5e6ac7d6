"""How do subscriptions reach their clients: shared streams, over WebSockets and as server-sent events?"""
