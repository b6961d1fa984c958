"""The numbers that a site may want to change: edit, run `python -m deploy.monitoring`, commit."""

FALSE_FULFILMENT_TARGET = 0.02  # of tickets that people and flows close, over 30 days
TIME_TO_ACCESS_S = "14400.0"  # the SLO: 95 % of grants work within 4 hours of the approval, waits for seats and
TIME_TO_ACCESS_TARGET = 0.05  # people not counted; a bucket's bound, as it is written in `le`
FAST, SLOW = "6h", "3d"  # windows of the burn alerts
FAST_BURN, SLOW_BURN = 10, 2  # times the target: 8 % of a month's allowance in 6 hours, 20 % in 3 days
VERDICTS_MIN = 20  # in a window; fewer say nothing
UNKNOWN_MAX = 0.05
BUDGET_MIN = 0.1
STALLED_S = 1800  # six cycles at schedule.every = "5m"
NO_PROGRESS_S = 600  # what /healthz calls dead
CREDENTIAL_S = 14 * 86_400
EXPIRED_FOR = "25h"  # the group path's window, and an hour
QUEUED_FOR = "1h"
MISSING_FOR = "15m"
