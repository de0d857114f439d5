# Draws what results.tsv has: gnuplot -c draw.gnuplot DIRECTORY

directory = ARG1
data = directory . "/results.tsv"
noted(label) = system(sprintf("sed -n 's/^# %s: //p' '%s'", label, data))
caption = sprintf("%s; %s; %s; %s\nrounds: %s; vertical bars: least to most", noted("command"), \
                  noted("date"), noted("server"), noted("machine"), noted("rounds"))

set datafile separator "\t"
set datafile columnheaders
set datafile missing "NaN"
set terminal svg size 900,720 font "sans-serif,13" background "white"

set logscale x 2
set xrange [0.8:80]
set xtics (1, 4, 16, 64)
set grid ytics linetype 1 linewidth 0.5 linecolor "#dddddd"
set border 3 linecolor "#666666"
set tics nomirror
unset key

# Series that everybody can tell apart: Okabe and Ito's colours.
set linetype 1 linecolor "#0072b2" linewidth 2 pointtype 7 pointsize 0.6
set linetype 2 linecolor "#d55e00" linewidth 2 pointtype 5 pointsize 0.6
set linetype 3 linecolor "#666666" linewidth 2 pointtype 9 pointsize 0.7
set linetype 4 linecolor "#009e73" linewidth 2 pointtype 13 pointsize 0.8

contestants = "'guard' 'unlock' 'bare hiredis' 'redis-py'"
titles = "'redlatch, guard' 'redlatch, unlock()' \
          'bare hiredis, a connection per thread' 'redis-py, one thread'"
places = "0.06 0.26 0.46 0.80"

# The value of a column on the lines of one curve, and none on the others.
of(figure, contestant) = \
    strcol("suite") eq "engine" && strcol("transport") eq transport && strcol("cores") eq cores && \
    strcol("contestant") eq contestant ? column(figure) : NaN

do for [plot in "throughput latency"] {
  figure = plot eq "throughput" ? "cycles_per_second" : "cycle_p99_us"
  set output directory . "/" . plot . ".svg"
  set multiplot layout 2,2 margins 0.09,0.98,0.14,0.90 spacing 0.08,0.11 \
      title (plot eq "throughput" ? "Cycles of acquire and release per second, by threads" \
                                  : "99th percentile of a cycle in microseconds, by threads")
  set label 1 caption at screen 0.02,0.045 font ",10" textcolor "#444444"
  do for [i = 1:4] {  # one legend for all four, which a key cannot be
    set label 1 + i word(titles, i) at screen real(word(places, i)),0.08 \
        point linetype i offset 1,0 textcolor linetype i
  }
  if (plot eq "throughput") { set yrange [0:*] } else { set logscale y; set yrange [*:*] }
  do for [transport in "'TCP' 'Unix socket'"] {
    do for [cores in "'unpinned' 'pinned to one core'"] {
      set title sprintf("%s, %s", transport, \
                        cores eq "unpinned" ? cores : "client and server pinned to one core") font ",12"
      plot for [i = 1:4] data using (column("threads")):(of(figure, word(contestants, i))): \
          (of(figure . "_least", word(contestants, i))):(of(figure . "_most", word(contestants, i))) \
          with yerrorlines linetype i
      unset label  # they are there now
    }
  }
  unset multiplot
}
