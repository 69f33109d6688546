"""What those who run the service ask it: is it alive, is it ready, and what does it do."""
