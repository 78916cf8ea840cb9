"""What a shard remembers: panes, customers, carts, chats and tickets, journaled exactly."""
