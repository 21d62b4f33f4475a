"""Full mesh and k-ary n-fly: choice, cabling, names and addresses."""
