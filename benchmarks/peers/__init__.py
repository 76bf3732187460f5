"""One campaign of single bit flips, run by several fault injectors. Each tool has a file; none knows another."""
