"""Stations 5 to 7: claim, dispatch, outcome; and recovery, which asks the rail before anything is sent again."""
