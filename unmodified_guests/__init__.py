"""The workloads as kernels of a plain PC: only the architecture and its chips, no knowledge of any monitor."""
