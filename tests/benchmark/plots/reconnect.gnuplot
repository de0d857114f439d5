# Draws what reconnect.tsv has: gnuplot -c reconnect.gnuplot DIRECTORY

directory = ARG1
data = directory . "/reconnect.tsv"
noted(label) = system(sprintf("sed -n 's/^# %s: //p' '%s'", label, data))

set datafile separator "\t"
set datafile columnheaders
set terminal svg size 900,720 font "sans-serif,13" background "white"
set output directory . "/reconnect.svg"

set xrange [0:2000]
set yrange [0:*]
set grid ytics linetype 1 linewidth 0.5 linecolor "#dddddd"
set border 3 linecolor "#666666"
set tics nomirror
unset key
set style fill solid noborder
set boxwidth 10

scenarios = "'a lock each' 'a lock each, TLS' '10 locks each' 'waiting' 'waiting, a short outage' \
             'without jitter'"

set multiplot layout 3,2 margins 0.07,0.98,0.11,0.91 spacing 0.08,0.09 \
    title sprintf("%s clients reconnect to a restarted server: connections within 10 ms, by ms since it answers", \
                  noted("clients"))
set label 1 sprintf("./dev bench reconnect; %s; %s", noted("date"), noted("machine")) \
    at screen 0.02,0.04 font ",10" textcolor "#444444"
do for [scenario in scenarios] {
  set title scenario font ",12"
  colour = scenario eq "without jitter" ? "#666666" : "#0072b2"
  plot data using (column("ms") + 5):(strcol("scenario") eq scenario ? column("arrivals") : NaN) \
      with boxes linecolor rgb colour
  unset label  # it is there now
}
unset multiplot
