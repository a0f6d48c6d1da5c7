# berth(1) from its two sources: `berth help --man | awk -f docs/man.awk - docs/berth.1.in`
# The first gives parts, each after a line "@@ NAME"; a line "@@ NAME" in the second stands for one.
FNR == 1 { file++ }
file == 1 && /^@@ / { name = $2; next }
file == 1 { part[name] = part[name] $0 "\n"; next }
/^@@ / {
  if (!($2 in part)) { print "no part " $2 " for " FILENAME > "/dev/stderr"; exit failed = 1 }
  printf "%s", part[$2]
  used[$2] = 1
  next
}
{ print }
END {
  for (name in part) if (!(name in used)) { print "part " name " stands nowhere" > "/dev/stderr"; failed = 1 }
  exit failed
}
