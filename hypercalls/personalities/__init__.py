"""What a guest detects: CPUID leaves, MSRs and a calling convention. One file a hypervisor that a guest may know."""
