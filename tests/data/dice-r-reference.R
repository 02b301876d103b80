# Draws what dice-r-reference.npz holds: each row of the .csv once with each plot character.
# Rscript dice-r-reference.R dice-r-reference.csv FOLDER 32 cairo; R 4.2.2 with cairo 1.16 did.
# With Xlib in place of cairo and pch 1, on an X server (Xvfb -noreset): its array `xlib`.

arguments <- commandArgs(TRUE)
X11.options(display = Sys.getenv("DISPLAY"))
rows <- read.csv(arguments[1], stringsAsFactors = FALSE)
size <- as.integer(arguments[3])

for (pch in c(1, 16, 19, 20)) for (i in seq_len(nrow(rows))) {
  r <- rows[i, ]
  png(sprintf("%s/%02d-%05d.png", arguments[2], pch, i - 1), width = size, height = size,
      pointsize = 12, res = 72, bg = "white", type = arguments[4])
  par(mar = c(0, 0, 0, 0))
  plot.new()
  plot.window(c(-1, 1), c(-1, 1), xaxs = "i", yaxs = "i")
  x <- r$x
  y <- r$y
  outline <- function() polygon(c(x, x, -x, -x), c(y, -y, -y, y), lwd = r$lwd, lend = r$lend)
  line <- function(dx, dy) lines(c(x, -x) + dx, c(y, -y) + dy, lwd = r$lwd, lend = r$lend)
  switch(r$class,
    points(x, y, cex = r$cex, pch = pch),
    points(c(x, -x), c(y, -y), cex = r$cex, pch = pch),
    line(0, 0),
    outline(),
    { outline(); points(0, 0, cex = r$cex, pch = pch) },
    { line(r$dx, r$dy); line(-r$dx, -r$dy) })
  invisible(dev.off())
}
