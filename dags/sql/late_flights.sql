SELECT origin, dest, COUNT(*) AS flights, AVG(arr_delay) AS mean_delay
FROM flights
WHERE month = {{ params.month }} AND arr_delay IS NOT NULL
GROUP BY origin, dest
HAVING COUNT(*) >= 10
ORDER BY mean_delay DESC
