"""Another version takes circusd's place: in the same process, with its doors, while all that it manages runs on.

`rehearsal` is the new code in a child, which tries everything and changes nothing; `trial` starts that child and judges
it; `program` is what is executed; `handover` is the file without a name through which one program tells the next;
`carried` is what it tells; `succession` is the way from the order to the end of the old program.
"""

#: Of the environment of a circusd: its mere presence says that nothing shall be changed.
REHEARSAL = "CIRCUS_REHEARSAL"
