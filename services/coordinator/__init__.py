"""The coordinator: data sets, campaigns, pools, phases, annotation requests and releases."""
