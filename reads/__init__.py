"""The application's read side: readers, sessions, and the route that decides which store answers."""
