"""Schedules: jobs at times that cron lines name, once each, from any number of machines, without a server.

<store>/schedules/changes/NAME.000001.json …   what a schedule is after each change; see `book`
<store>/schedules/runs/NAME/…                  claims, signs of life and records of its runs; see `runs`
<store>/schedules/clock                        written to read the store's time; see `clock`
"""
