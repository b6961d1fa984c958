"""The four dashboards, one module each."""

from deploy.monitoring.boards import admin, desk, finance, sre

BOARDS = (desk.BOARD, admin.BOARD, finance.BOARD, sre.BOARD)
