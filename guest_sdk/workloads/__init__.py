"""The workloads as paravirtual guests: each module surrounds one job of guest_sdk.work with a kernel that asks."""
